package store

import "strings"

// The keys in etcd. Nothing else of ours is under the prefix.
const (
	prefix          = "/cairn/"
	specPrefix      = prefix + "spec/"
	statusPrefix    = prefix + "status/"
	placementPrefix = prefix + "placement/"
	claimPrefix     = prefix + "claim/"
	countPrefix     = prefix + "count/"
	refPrefix       = prefix + "ref/"
	idemPrefix      = prefix + "idem/"
	alivePrefix     = prefix + "alive/" // that a host reports, under the lease of the controller that it reports to
	lifePrefix      = prefix + "life/"  // when a host last came alive: the key's revision
	fencePrefix     = prefix + "fence/" // that a silent host is off for sure
	electionPrefix  = prefix + "election/"
	livePrefix      = prefix + "controllers/"
	writerPrefix    = prefix + "writer/"
	clusterPrefix   = prefix + "cluster/"
	schemaKey       = clusterPrefix + "schema"
)

// listed are the prefixes whose records the copy in memory is made of. The
// rest (claims, references) follows from the objects that hold them.
var listed = []string{specPrefix, placementPrefix, statusPrefix, countPrefix, idemPrefix, alivePrefix, lifePrefix, fencePrefix, livePrefix, clusterPrefix}

func specKey(kind, project, id string) string {
	if project == "" {
		project = "-"
	}
	return specPrefix + kind + "/" + project + "/" + id
}

func statusKey(kind, id string) string { return statusPrefix + kind + "/" + id }
func placementKey(id string) string    { return placementPrefix + id }
func claimKey(key string) string       { return claimPrefix + key }
func countKey(key string) string       { return countPrefix + key }

// refsKey is the prefix of all references to an object.
func refsKey(kind, id string) string { return refPrefix + kind + "/" + id + "/" }

func refKey(r refRow) string {
	return refsKey(r.targetKind.name(), r.targetID) + r.kind.name() + "/" + r.id
}

// parseSpecKey takes apart what follows specPrefix.
func parseSpecKey(rest string) (kind, id string, ok bool) {
	p := strings.Split(rest, "/")
	if len(p) != 3 || p[0] == "" || p[2] == "" {
		return "", "", false
	}
	return p[0], p[2], true
}

// parseStatusKey takes apart what follows statusPrefix.
func parseStatusKey(rest string) (kind, id string, ok bool) {
	kind, id, ok = strings.Cut(rest, "/")
	return kind, id, ok && kind != "" && id != "" && !strings.Contains(id, "/")
}
