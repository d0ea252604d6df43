//! UDP, as the programs' calls and the kernel's sockets tell it.
//!
//! Bytes are payload: what a program handed to the kernel, and what it took over, each once; loopback counts like any
//! other way. A message is what one call moved: with segmentation offload (`UDP_SEGMENT`, `UDP_GRO`) several datagrams
//! of the wire. Series are per container, without the peer: a server has as many peers as it has clients.

super::catalog! {
    title: "UDP", prefix: "container_net_udp_", scope: Container;

    BYTES_SENT_TOTAL: Counter "container_net_udp_bytes_sent_total" []
        "Payload bytes sent over UDP",
        from "results of udp_sendmsg and udpv6_sendmsg (fexit), else tp_btf/sock_send_length, else cgroup_skb/egress";
    BYTES_RECEIVED_TOTAL: Counter "container_net_udp_bytes_received_total" []
        "Payload bytes received over UDP",
        from "results of udp_recvmsg and udpv6_recvmsg (fexit), else tp_btf/sock_recv_length, else cgroup_skb/ingress";
    MESSAGES_SENT_TOTAL: Counter "container_net_udp_messages_sent_total" []
        "Messages sent over UDP",
        from "calls that sent, from the same hooks; of cgroup_skb packets";
    MESSAGES_RECEIVED_TOTAL: Counter "container_net_udp_messages_received_total" []
        "Messages received over UDP",
        from "calls that received without MSG_PEEK, from the same hooks; of cgroup_skb packets";
    ERRORS_TOTAL: Counter "container_net_udp_errors_total" ["reason"]
        "UDP messages that could not be sent, or about which an error came back: send_buffer_full, refused, unreachable, too_large, not_permitted, other",
        from "errors of the same calls; absent where cgroup_skb counts";
    RECEIVE_DROPS_TOTAL: Counter "container_net_udp_receive_drops_total" []
        "Datagrams that arrived at a UDP socket and were dropped: the receive buffer was full, or the checksum wrong",
        from "sk_drops by iter/task_file at every snapshot, and by cgroup/sock_release at a socket's end";
}
