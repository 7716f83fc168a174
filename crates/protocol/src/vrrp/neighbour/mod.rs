//! What neighbours are told and asked: ARP (RFC 826, 5227) and neighbour
//! discovery (RFC 4861) as values, whole Ethernet frames.
