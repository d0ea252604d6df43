//! Dropped packets, where the probe `drops` is on.

super::catalog! {
    title: "Dropped packets", prefix: "node_net_packets_", scope: Node;

    DROPPED_TOTAL: Counter "node_net_packets_dropped_total" ["reason"]
        "Packets that the kernel dropped, in all network namespaces; reasons as the kernel names them",
        from "tp_btf/kfree_skb; probe drops, off by default";
}
