package memetcd

import pb "go.etcd.io/etcd/api/v3/etcdserverpb"

// RaiseNoSpace raises the alarm that etcd raises when its quota is used up: until
// somebody disarms it, there are no puts and no new leases.
func (c *Cluster) RaiseNoSpace() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.noSpace = true
}

func (c *Cluster) alarm(r *pb.AlarmRequest, out *pb.AlarmResponse) {
	out.Header = header(c.rev)
	if !c.noSpace || r.Alarm != pb.AlarmType_NONE && r.Alarm != pb.AlarmType_NOSPACE {
		return
	}
	if r.Action == pb.AlarmRequest_DEACTIVATE {
		if r.MemberID != member || r.Alarm != pb.AlarmType_NOSPACE {
			return
		}
		c.noSpace = false
	}
	out.Alarms = []*pb.AlarmMember{{MemberID: member, Alarm: pb.AlarmType_NOSPACE}}
}
