#!/usr/bin/env bash
# From nothing to virtual machines on three hosts that reach each other. It can be
# run again: what is there already is left as it is.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH=$PWD/bin:$PATH
network=demo
address=(10.20.0.11 10.20.0.12 10.20.0.13)

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
run() { # shows a command, and runs it
	echo "$ $*"
	"$@"
}
have() { # creates a resource unless there is one of that name
	local kind=$1 name=$2
	shift 2
	cairn "$kind" get "$name" >/dev/null 2>&1 || run cairn "$kind" create "$name" "$@"
}

# The guests write what they see to their serial consoles.
lastPing() { # INSTANCE ADDRESS: how the last ping went
	cairn instance console-log "$1" | tr -d '\r' | sed -n "s/^cairn-guest: ping $2 //p" | tail -n 1
}
awaitPing() {
	local end=$((SECONDS + 120))
	until [[ $(lastPing "$1" "$2") == ok ]]; do
		if ((SECONDS > end)); then
			cairn instance console-log "$1"
			echo "$1 did not reach $2 within two minutes; above is its console" >&2
			exit 1
		fi
		sleep 1
	done
}

say "Three hosts, each with its own libvirtd and agent"
run cairn lab up --hosts 3
run cairn host list

say "An image, a network and three instances"
have image demo-tiny --file deploy/images/out/tiny.qcow2
have network $network
have subnet $network --network $network --cidr 10.20.0.0/24
for i in 0 1 2; do
	# The scheduler would pack them all onto one host, so each asks for its own.
	cairn host update h$((i + 1)) --labels "demo=$i" >/dev/null
	others=("${address[@]}")
	unset "others[$i]"
	have instance "demo-$i" --type t1-nano --image demo-tiny --network "$network=${address[i]}" --required-label "demo=$i" \
		--user-data "ping=$(IFS=,; echo "${others[*]}")"
done
run cairn instance list

say "Each reaches the others, through networks that the agents built"
for i in 0 1 2; do
	for j in 0 1 2; do
		[[ $i == "$j" ]] && continue
		awaitPing "demo-$i" "${address[j]}"
		echo "demo-$i on $(cairn instance get "demo-$i" -o field=placement.host_name) reaches demo-$j at ${address[j]} on $(cairn instance get "demo-$j" -o field=placement.host_name)"
	done
done

data=/var/lib/cairn-lab${CAIRN_LAB:+-$CAIRN_LAB}
say "It is yours"
cat <<END
URL     $(cat "$data/server")  (what the API is: $(cat "$data/server")/docs)
token   $(cat "$data/admin.token")  (kept in $data/admin.token; the CA is $data/ca.crt)

  export PATH=$PWD/bin:\$PATH
  cairn instance console-log demo-0
  cairn lab exec h1 virsh list
  cairn lab down

docs/tutorial.md goes on from here.
END
