package linux

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cairn-cloud/cairn/network"
)

// announceAgain is when an announcement is repeated: one may be lost, and the
// host where the address was may have answered after the first.
var announceAgain = []time.Duration{time.Second, 3 * time.Second}

// announcer repeats announcements, for as long as they are true.
type announcer struct {
	mu      sync.Mutex
	current map[network.NeighbourKey]context.CancelFunc
	wg      sync.WaitGroup
	end     context.CancelFunc
	ctx     context.Context //nolint:containedctx // it ends what was begun, at Close
}

func newAnnouncer() *announcer {
	a := &announcer{current: map[network.NeighbourKey]context.CancelFunc{}}
	a.ctx, a.end = context.WithCancel(context.Background())
	return a
}

// close ends all and waits for it.
func (a *announcer) close() {
	a.end()
	a.wg.Wait()
}

// stop announces an address no more.
func (a *announcer) stop(key network.NeighbourKey) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if stop, ok := a.current[key]; ok {
		stop()
		delete(a.current, key)
	}
}

// repeat sends again in the background.
func (a *announcer) repeat(key network.NeighbourKey, send func() error) {
	a.stop(key)
	a.mu.Lock()
	defer a.mu.Unlock()
	ctx, stop := context.WithCancel(a.ctx)
	a.current[key] = stop
	a.wg.Go(func() {
		defer stop()
		for _, d := range announceAgain {
			t := time.NewTimer(d)
			select {
			case <-ctx.Done():
				t.Stop()
				return
			case <-t.C:
			}
			if send() != nil {
				return // the link is gone, and all with it
			}
		}
	})
}

// announce tells everybody on a link that an address is here, now and again.
func (n *Network) announce(s *space, key network.NeighbourKey) error {
	send := func() error {
		return within(s.ns, func() error { return sendAnnouncement(key) })
	}
	if err := send(); err != nil {
		return err
	}
	n.announcements.repeat(key, send)
	return nil
}

// sendAnnouncement sends from the thread's namespace: the announcement of RFC 5227.
func sendAnnouncement(key network.NeighbourKey) error {
	l, err := net.InterfaceByName(key.Link)
	if err != nil {
		return err
	}
	mac := l.HardwareAddr
	if len(mac) != 6 {
		return fmt.Errorf("%s has no MAC: nobody could answer there for an address", key.Link)
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Sendto(fd, arpAnnouncement(mac, key.Address.AsSlice()), 0, &unix.SockaddrLinklayer{Ifindex: l.Index, Halen: 6})
}

// arpAnnouncement is a request for an address by who has it, to all.
func arpAnnouncement(mac, ip []byte) []byte {
	b := append([]byte{255, 255, 255, 255, 255, 255}, mac...)
	b = binary.BigEndian.AppendUint16(b, unix.ETH_P_ARP)
	b = append(b, 0, 1, 8, 0, 6, 4, 0, 1)
	b = append(append(b, mac...), ip...)
	return append(append(b, 0, 0, 0, 0, 0, 0), ip...)
}
