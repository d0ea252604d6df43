//! TCP, as the kernel's sockets tell it.
//!
//! Outbound series are told apart by `destination` (what the program connected to) and `actual_destination` (where
//! the connection ended after address translation). A failure has `destination` alone. Inbound series carry the listener's address only: peers are
//! not bounded. What a transparent proxy (TPROXY) accepts has the address that the client asked for, on which nobody
//! listens: that counts for `~overflow`.

super::catalog! {
    title: "TCP", prefix: "container_net_tcp_", scope: Container;

    LISTEN_INFO: Gauge "container_net_tcp_listen_info" ["listen_addr", "proxy"]
        "1 for every address on which the container accepts TCP connections, 0 after it stopped to, until --forget-after or until others need the place",
        from "tp_btf/inet_sock_set_state, iter/task_file; wildcard listeners are expanded by the addresses of their network namespace";
    SUCCESSFUL_CONNECTS_TOTAL: Counter "container_net_tcp_successful_connects_total" ["destination", "actual_destination"]
        "Outbound TCP connections that were established",
        from "tp_btf/inet_sock_set_state, SYN_SENT to ESTABLISHED";
    CONNECTION_TIME_SECONDS_TOTAL: Counter "container_net_tcp_connection_time_seconds_total" ["destination", "actual_destination"]
        "Time spent on establishing outbound TCP connections",
        from "tp_btf/inet_sock_set_state, from CLOSE to ESTABLISHED";
    FAILED_CONNECTS_TOTAL: Counter "container_net_tcp_failed_connects_total" ["destination"]
        "Outbound TCP connections that could not be established; without attempts that the kernel refuses before they begin: no route, one that prohibits, a program at the cgroup that forbids",
        from "tp_btf/inet_sock_set_state, SYN_SENT to CLOSE";
    CONNECT_FAILURES_TOTAL: Counter "container_net_tcp_connect_failures_total" ["destination", "reason"]
        "Outbound TCP connections that could not be established, by reason: refused, timeout, host_unreachable, network_unreachable, reset, aborted (closed by the program before an answer came), permission, address_unavailable, other; without attempts that the kernel refuses before they begin: no route, one that prohibits, a program at the cgroup that forbids",
        from "sock.sk_err at the same transition, and whether anything was sent";
    CONNECT_DURATION_SECONDS: Histogram "container_net_tcp_connect_duration_seconds" ["destination", "actual_destination"]
        "Duration of the handshakes of outbound TCP connections; above 1, 3 and 7 s the SYN was lost once, twice and three times. 14 series a destination, in place of what would be an average",
        from "tp_btf/inet_sock_set_state, from CLOSE to ESTABLISHED";
    RESETS_TOTAL: Counter "container_net_tcp_resets_total" ["destination", "actual_destination", "side"]
        "Outbound TCP connections that a reset ended while the program held them: by the peer (side=received), or by the program, which closed with data unread or without lingering (side=sent)",
        from "sock.sk_err and the state left, at the transition to CLOSE";
    ACTIVE_CONNECTIONS: Gauge "container_net_tcp_active_connections" ["destination", "actual_destination"]
        "Outbound TCP connections that are open",
        from "iter/task_file, tp_btf/inet_sock_set_state";
    RETRANSMITS_TOTAL: Counter "container_net_tcp_retransmits_total" ["destination", "actual_destination"]
        "TCP segments sent again on outbound connections",
        from "tcp_sock.total_retrans at every snapshot and at destroy";
    BYTES_SENT_TOTAL: Counter "container_net_tcp_bytes_sent_total" ["destination", "actual_destination"]
        "Payload bytes sent on outbound TCP connections",
        from "tcp_sock.bytes_sent - bytes_retrans at every snapshot and at destroy";
    BYTES_RECEIVED_TOTAL: Counter "container_net_tcp_bytes_received_total" ["destination", "actual_destination"]
        "Payload bytes received on outbound TCP connections",
        from "tcp_sock.bytes_received at every snapshot and at destroy, without the FIN";
    LATENCY_SECONDS: Gauge "container_net_latency_seconds" ["destination_ip"]
        "Round-trip time between the container and a remote address",
        from "tcp_sock.srtt_us: the smallest among the open outbound connections to the address; while none is open, among those that ended last, within 15 s of each other, until --forget-after";
    MIN_RTT_SECONDS: Gauge "container_net_tcp_min_rtt_seconds" ["destination_ip"]
        "Smallest round-trip time between the container and a remote address in the kernel's window of five minutes: the path without queues",
        from "tcp_sock.rtt_min: the smallest among the open outbound connections to the address; while none is open, among those that ended last, within 15 s of each other, until --forget-after";
    LISTEN_BACKLOG: Gauge "container_net_tcp_listen_backlog" ["listen_addr"]
        "Connections that wait to be accepted; the address is the socket's own, for a wildcard has one queue for all addresses",
        from "iter/task_file, sock.sk_ack_backlog";
    LISTEN_BACKLOG_MAX: Gauge "container_net_tcp_listen_backlog_max" ["listen_addr"]
        "Connections that may wait to be accepted",
        from "iter/task_file, sock.sk_max_ack_backlog and the one more that the kernel lets in";
    LISTEN_DROPS_TOTAL: Counter "container_net_tcp_listen_drops_total" ["listen_addr"]
        "Connections and attempts that a listening socket dropped, mostly because its queue was full; a client that tries again is dropped again, and the last segment of a handshake counts twice, as the kernel has it",
        from "iter/task_file, tp_btf/inet_sock_set_state, sock.sk_drops";
    LISTEN_OVERFLOWS_TOTAL: Counter "container_net_tcp_listen_overflows_total" ["listen_addr"]
        "Of the drops of a listening socket, those for which its accept queue was full: SYNs, and handshakes that were complete; a client that tries again overflows it again. Where several sockets of one network namespace dropped between two snapshots, and not all for want of room, each has its part in proportion to its drops",
        from "/proc/<pid>/net/netstat ListenOverflows of the socket's network namespace, given to the sockets that sock.sk_drops grew of";
    INBOUND_CONNECTIONS_TOTAL: Counter "container_net_tcp_inbound_connections_total" ["listen_addr"]
        "TCP connections that the container's listeners took",
        from "tp_btf/inet_sock_set_state, SYN_RECV to ESTABLISHED";
    INBOUND_ACTIVE_CONNECTIONS: Gauge "container_net_tcp_inbound_active_connections" ["listen_addr"]
        "Inbound TCP connections that are open",
        from "iter/task_file, tp_btf/inet_sock_set_state";
    INBOUND_RESETS_TOTAL: Counter "container_net_tcp_inbound_resets_total" ["listen_addr", "side"]
        "Inbound TCP connections that a reset ended while the program held them, by who sent it: side=received or sent",
        from "sock.sk_err and the state left, at the transition to CLOSE";
    INBOUND_RETRANSMITS_TOTAL: Counter "container_net_tcp_inbound_retransmits_total" ["listen_addr"]
        "TCP segments sent again on inbound connections",
        from "tcp_sock.total_retrans at every snapshot and at destroy";
    INBOUND_BYTES_SENT_TOTAL: Counter "container_net_tcp_inbound_bytes_sent_total" ["listen_addr"]
        "Payload bytes sent on inbound TCP connections",
        from "tcp_sock.bytes_sent - bytes_retrans at every snapshot and at destroy";
    INBOUND_BYTES_RECEIVED_TOTAL: Counter "container_net_tcp_inbound_bytes_received_total" ["listen_addr"]
        "Payload bytes received on inbound TCP connections",
        from "tcp_sock.bytes_received at every snapshot and at destroy, without the FIN";
}
