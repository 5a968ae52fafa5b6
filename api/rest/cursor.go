package rest

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/cairn-cloud/cairn/api"
)

// pageCursor is where a list goes on: after that ID, at that revision. Filter
// is a digest of what was listed, so that a cursor is not used for another list.
type pageCursor struct {
	Revision int64  `json:"r"`
	After    string `json:"a"`
	Filter   string `json:"f"`
}

func (p pageCursor) String() string {
	b, err := json.Marshal(p)
	if err != nil { // two strings and a number
		panic("rest: a cursor that does not marshal: " + err.Error())
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

func parsePageCursor(s string) (p pageCursor, ok bool) {
	if len(s) > 1024 {
		return p, false
	}
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || json.Unmarshal(b, &p) != nil {
		return pageCursor{}, false
	}
	return p, p.Revision > 0 && p.After != ""
}

func filterDigest(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:8])
}

// parseWatchCursor reads "1234" or "1234.2".
func parseWatchCursor(s string) (api.Cursor, bool) {
	rev, index, dotted := strings.Cut(s, ".")
	r, err := strconv.ParseInt(rev, 10, 64)
	if err != nil || r < 0 || rev[0] == '+' {
		return api.Cursor{}, false
	}
	if !dotted {
		// All of that revision was seen: a list shows whole transactions.
		return api.Cursor{Revision: r, Index: wholeRevision}, true
	}
	i, err := strconv.Atoi(index)
	if err != nil || i < 0 || index[0] == '+' {
		return api.Cursor{}, false
	}
	return api.Cursor{Revision: r, Index: i}, true
}

// wholeRevision is an index behind every change of a transaction.
const wholeRevision = 1<<31 - 1

func formatWatchCursor(c api.Cursor) string {
	if c.Index == wholeRevision {
		return strconv.FormatInt(c.Revision, 10)
	}
	return strconv.FormatInt(c.Revision, 10) + "." + strconv.Itoa(c.Index)
}
