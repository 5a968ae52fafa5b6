// Draws the reference from /openapi.json. Every text goes in as text, never as
// markup. It loads nothing else.
"use strict";

const methods = ["get", "post", "put", "patch", "delete", "head"];

// element makes <name class>, with children that are nodes or text.
function element(name, attributes, ...children) {
  const e = document.createElement(name);
  for (const [k, v] of Object.entries(attributes || {})) e.setAttribute(k, v);
  e.append(...children.filter((c) => c !== null && c !== undefined));
  return e;
}

function resolve(doc, schema) {
  let s = schema, seen = 0;
  while (s && s.$ref && seen++ < 16) {
    let target = doc;
    for (const part of s.$ref.slice(2).split("/")) target = target?.[part];
    s = { ...target, ...s, $ref: target?.$ref, refName: s.$ref.split("/").pop() };
  }
  return s || {};
}

// typeName says a schema in a few words: "array of NIC", "integer (int64)".
function typeName(doc, schema) {
  const s = resolve(doc, schema);
  if (s.oneOf) return s.oneOf.map((x) => typeName(doc, x)).join(" or ");
  const type = [s.type].flat().filter((t) => t && t !== "null")[0];
  if (type === "array") return "array of " + typeName(doc, s.items || {});
  if (s.refName) return s.refName;
  if (type === "object" && typeof s.additionalProperties === "object") return "map of " + typeName(doc, s.additionalProperties);
  return (type || "any") + (s.format && !["int32", "int64", "double"].includes(s.format) ? ` (${s.format})` : "");
}

// limits lists what a value must hold to.
function limits(s) {
  const out = [];
  const between = (low, high, what) => {
    if (low !== undefined || high !== undefined) out.push(`${what}${low ?? "…"} to ${high ?? "…"}`);
  };
  between(s.minimum, s.maximum, "");
  between(s.minLength, s.maxLength, "length ");
  if (s.maxItems !== undefined) out.push(`at most ${s.maxItems}`);
  if (s.enum) out.push("one of " + s.enum.join(", "));
  if (s.examples) out.push("such as " + s.examples.join(", "));
  return out.join("; ");
}

// inside is the schema whose fields are worth opening: of an object, or of an array's items.
function inside(doc, schema) {
  let s = resolve(doc, schema);
  while (s.items) s = resolve(doc, s.items);
  if (typeof s.additionalProperties === "object") s = resolve(doc, s.additionalProperties);
  return s.properties ? s : null;
}

function fields(doc, schema, depth) {
  const s = inside(doc, schema);
  if (!s) return element("p", {}, typeName(doc, schema));
  const rows = Object.entries(s.properties).map(([name, property]) => {
    const p = resolve(doc, property);
    const about = element("td", {}, p.description || "", " ", element("span", { class: "type" }, limits(p)));
    if (inside(doc, property) && depth < 6) about.append(lazy("fields", "inner", () => fields(doc, property, depth + 1)));
    const flags = [];
    if ((s.required || []).includes(name) && !p.readOnly) flags.push(element("span", { class: "flag" }, "required"));
    if (p.readOnly) flags.push(element("span", { class: "flag" }, "read-only"));
    return element("tr", {}, element("td", {}, element("code", {}, name)), element("td", { class: "type" }, typeName(doc, property), " ", ...flags), about);
  });
  return element("table", {}, element("tbody", {}, ...rows));
}

// lazy is a <details> that is filled when it is first opened.
function lazy(title, kind, fill) {
  const d = element("details", { class: kind }, element("summary", {}, title));
  d.addEventListener("toggle", () => {
    if (d.open && d.children.length === 1) d.append(fill());
  });
  return d;
}

function contents(doc, content) {
  return Object.entries(content || {}).map(([type, media]) =>
    lazy(`${type}: ${typeName(doc, media.schema || {})}`, "schema", () => fields(doc, media.schema || {}, 0)));
}

function parameters(doc, list) {
  return element("table", {}, element("tbody", {}, ...list.map((p) =>
    element("tr", {},
      element("td", {}, element("code", {}, p.name)),
      element("td", { class: "type" }, `${p.in}, ${typeName(doc, p.schema || {})}`, p.required ? element("span", { class: "flag" }, "required") : null),
      element("td", {}, p.description || "")))));
}

function responses(doc, all) {
  return element("table", {}, element("tbody", {}, ...Object.entries(all).map(([status, response]) => {
    const r = resolve(doc, response);
    const about = element("td", {}, r.description || "", ...contents(doc, r.content));
    const headers = Object.entries(r.headers || {}).map(([n, h]) => `${n}: ${h.description || ""}`);
    for (const h of headers) about.append(element("div", { class: "type" }, h));
    return element("tr", {}, element("td", {}, element("code", {}, status)), about);
  })));
}

function operation(doc, path, method, op) {
  const who = (op.security || doc.security || []).map((s) => Object.keys(s).join(" and ")).join(" or ");
  const d = element("details", { class: "op", id: op.operationId },
    element("summary", {}, element("span", { class: "method " + method }, method), element("code", {}, path), element("span", {}, op.summary || "")));
  d.dataset.words = `${op.operationId} ${path} ${op.summary} ${op.tags} ${method}`.toLowerCase();
  d.addEventListener("toggle", () => {
    if (!d.open || d.children.length > 1) return;
    const body = element("div", { class: "body" });
    if (op.description) body.append(element("p", {}, op.description));
    body.append(element("p", { class: "type" }, `${op.operationId}; ${who ? "with a " + who : "open"}`));
    if (op.parameters?.length) body.append(element("h3", {}, "Parameters"), parameters(doc, op.parameters));
    if (op.requestBody) body.append(element("h3", {}, "Body"), ...contents(doc, op.requestBody.content));
    body.append(element("h3", {}, "Answers"), responses(doc, op.responses || {}));
    d.append(body);
  });
  return d;
}

function draw(doc) {
  document.getElementById("version").textContent = doc.info.version;
  document.getElementById("intro").append(element("p", {}, doc.info.description || ""));
  const main = document.getElementById("main"), menu = document.getElementById("tags");
  const sections = new Map();
  for (const tag of doc.tags) {
    const s = element("section", {}, element("h2", { id: "tag-" + tag.name }, tag.name), element("p", {}, tag.description || ""));
    sections.set(tag.name, s);
    menu.append(element("a", { href: "#tag-" + tag.name }, tag.name));
    main.append(s);
  }
  for (const path of Object.keys(doc.paths).sort()) {
    for (const method of methods) {
      const op = doc.paths[path][method];
      if (op) sections.get(op.tags[0])?.append(operation(doc, path, method, op));
    }
  }
}

// filter shows the operations that hold every word.
function filter(text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  for (const section of document.querySelectorAll("main > section:not(#intro)")) {
    let any = false;
    for (const op of section.querySelectorAll("details.op")) {
      op.hidden = !words.every((w) => op.dataset.words.includes(w));
      any ||= !op.hidden;
    }
    section.hidden = !any;
  }
}

function openTarget() {
  const e = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (e instanceof HTMLDetailsElement) e.open = true;
  e?.scrollIntoView();
}

async function main() {
  const state = document.getElementById("state");
  try {
    const answer = await fetch("/openapi.json");
    if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
    draw(await answer.json());
    state.remove();
    openTarget();
  } catch (e) {
    state.textContent = `The document could not be read: ${e.message}. Reload the page, or open /openapi.json.`;
  }
}

window.addEventListener("hashchange", openTarget);
document.getElementById("filter").addEventListener("input", (e) => filter(e.target.value));
main();
