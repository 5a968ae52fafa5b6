package guest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"time"
)

// tokens are session tokens as EC2's IMDSv2 has them: a string that its holder
// shows for a while. Nothing of them is kept: each carries its end, sealed for
// one instance with a key that lives as long as the service. After a restart
// clients are told 401, and fetch another.
type tokens struct {
	key [32]byte
	now func() time.Time
}

// maxTokenSeconds is the longest time that a token lives, as in EC2.
const maxTokenSeconds = 6 * 60 * 60

// issue makes a token for an instance.
func (t *tokens) issue(instance string, life time.Duration) string {
	b := binary.BigEndian.AppendUint64(nil, uint64(t.now().Add(life).Unix()))
	return base64.RawURLEncoding.EncodeToString(append(b, t.seal(instance, b)...))
}

// holds tells whether the token is the instance's, and not over.
func (t *tokens) holds(instance, token string) bool {
	b, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(b) != 8+sha256.Size || !hmac.Equal(b[8:], t.seal(instance, b[:8])) {
		return false
	}
	return t.now().Unix() < int64(binary.BigEndian.Uint64(b))
}

func (t *tokens) seal(instance string, end []byte) []byte {
	h := hmac.New(sha256.New, t.key[:])
	h.Write(end)
	h.Write([]byte(instance))
	return h.Sum(nil)
}
