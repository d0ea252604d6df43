//! Requests to disks, where the probe `block-latency` is on.

super::catalog! {
    title: "Disk latency", prefix: "node_resources_disk_", scope: Node;

    READ_LATENCY_SECONDS: Histogram "node_resources_disk_read_latency_seconds" ["device"]
        "Time from the making of a read request to its end",
        from "tp_btf/block_io_done or block_rq_complete; probe block-latency, off by default";
    WRITE_LATENCY_SECONDS: Histogram "node_resources_disk_write_latency_seconds" ["device"]
        "Time from the making of a write request to its end",
        from "tp_btf/block_io_done or block_rq_complete; probe block-latency, off by default";
}
