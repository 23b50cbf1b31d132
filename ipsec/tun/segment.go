package tun

import "encoding/binary"

// segmenter writes the headers of the segments that one large TCP packet is cut into.
type segmenter struct {
	headers  [120]byte // IP and TCP, each at most 60
	ipHeader int
	size     int // of both headers
	id       uint16
	seq      uint32
	flags    byte
}

func newSegmenter(ip []byte, ipHeader, headers int) segmenter {
	s := segmenter{ipHeader: ipHeader, size: headers}
	copy(s.headers[:], ip[:headers])
	s.id = binary.BigEndian.Uint16(ip[4:])
	s.seq = binary.BigEndian.Uint32(ip[ipHeader+4:])
	s.flags = ip[ipHeader+13]
	return s
}

// header writes the headers before the payload that segment already holds, which starts at byte at of the whole
// payload. As the kernel's tcp_gso_segment: FIN and PSH belong to the last segment, CWR to the first.
func (s *segmenter) header(segment []byte, at int, last bool) {
	copy(segment, s.headers[:s.size])
	ip, tcp := segment[:s.ipHeader], segment[s.ipHeader:]
	binary.BigEndian.PutUint16(ip[2:], uint16(len(segment)))
	binary.BigEndian.PutUint16(ip[4:], s.id)
	s.id++
	finishIP(ip)

	binary.BigEndian.PutUint32(tcp[4:], s.seq+uint32(at))
	flags := s.flags
	if !last {
		flags &^= flagFIN | flagPSH
	}
	if at > 0 {
		flags &^= flagCWR
	}
	tcp[13] = flags
	tcp[tcpChecked], tcp[tcpChecked+1] = 0, 0
	putChecksum(tcp[tcpChecked:], sum(tcp, pseudo(ip, protoTCP, len(tcp))))
}
