//! The scheduler, where the probe `runqueue` is on.

super::catalog! {
    title: "Run queues", prefix: "container_resources_cpu_", scope: Container;

    RUNQUEUE_LATENCY_SECONDS: Histogram "container_resources_cpu_runqueue_latency_seconds" []
        "Time that a thread which gets a CPU had waited for it; containers and services only. A thread that moves to another CPU while it waits begins anew, so the sum is below the delay of threads that move",
        from "tp_btf/sched_switch; probe runqueue, off by default";
}
