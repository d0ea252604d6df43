//! Names, as DNS answers tell them.

super::catalog! {
    title: "DNS", prefix: "ip_to_", scope: Node;

    IP_TO_FQDN: Gauge "ip_to_fqdn" ["ip", "fqdn"]
        "1 for the name that was last asked for of every address that is a destination of connections. Of a name with several addresses, all of them public, which is a destination itself, only while container_net_latency_seconds has the address",
        from "answers of port 53 on UDP and TCP, by cgroup_skb/ingress";
}
