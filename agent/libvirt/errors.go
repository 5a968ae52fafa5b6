package libvirt

import (
	"errors"

	lv "libvirt.org/go/libvirt"
)

func isCode(err error, codes ...lv.ErrorNumber) bool {
	var e lv.Error
	if !errors.As(err, &e) {
		return false
	}
	for _, c := range codes {
		if e.Code == c {
			return true
		}
	}
	return false
}

func noDomain(err error) bool    { return isCode(err, lv.ERR_NO_DOMAIN) }
func noMark(err error) bool      { return isCode(err, lv.ERR_NO_DOMAIN_METADATA) }
func unsupported(err error) bool { return isCode(err, lv.ERR_NO_SUPPORT) }

// wrongState is libvirt's answer to starting what runs and stopping what does not.
func wrongState(err error) bool { return isCode(err, lv.ERR_OPERATION_INVALID) }
