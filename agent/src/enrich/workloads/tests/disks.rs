//! What containers use, and the disks they use it on.

use super::*;

#[test]
fn resources_disks_and_published_ports_are_emitted() {
    let machine = Machine::v2();
    let cgroup = machine.cgroup(&format!("docker/{ID}"));
    let file = |name: &str| format!("cgroup/docker/{ID}/{name}");
    machine.write(&file("cpu.stat"), "usage_usec 1500000\n");
    machine.write(&file("cpu.pressure"), "some total=2000000\nfull total=1000000\n");
    machine.write(&file("io.stat"), "8:0 rbytes=512 wbytes=0 rios=1 wios=0\n9:9 rios=1\n");
    machine.write("proc/diskstats", "8 0 sda 1\n8 1 sda1 1\n");
    machine.write("proc/7/mountinfo", "1 1 8:1 / /data rw - ext4 /dev/sda1 rw\n");
    machine.write("proc/1/net/fib_trie", "|-- 10.0.0.7\n/32 host LOCAL\n");
    let mut workloads = machine.workloads();
    workloads.observe_tasks(&[task(origin(7, NO_CGROUP, cgroup), 1, 0)], at(10), 0);
    let question = workloads.next_inspection().unwrap();
    let port = |address: &str| PublishedPort { address: address.parse().unwrap(), port: 80 };
    let metadata = ContainerMetadata { published: vec![port("0.0.0.0"), port("127.0.0.1")], ..named("web") };
    workloads.handle_inspected(question, Ok(metadata), at(10));
    let id = "container_id=/docker/web";
    let disk = format!("{id},device=sda,mount_point=/data");
    assert_eq!(
        series(&mut workloads, at(10)),
        [
            format!("container_info{{{id},image=img:1}} 1"),
            format!("container_net_tcp_listen_info{{{id},listen_addr=10.0.0.7:80,proxy=dockerd}} 1"),
            format!("container_net_tcp_listen_info{{{id},listen_addr=127.0.0.1:80,proxy=dockerd}} 1"),
            format!("container_resources_cpu_pressure_waiting_seconds_total{{{id},kind=some}} 2"),
            format!("container_resources_cpu_pressure_waiting_seconds_total{{{id},kind=full}} 1"),
            format!("container_resources_cpu_usage_seconds_total{{{id}}} 1.5"),
            format!("container_resources_disk_read_bytes_total{{{disk}}} 512"),
            format!("container_resources_disk_reads_total{{{disk}}} 1"),
            format!("container_resources_disk_writes_total{{{disk}}} 0"),
            format!("container_resources_disk_written_bytes_total{{{disk}}} 0"),
            format!("container_restarts_total{{{id}}} 0"),
        ]
    );
}

#[test]
fn mounts_outlive_the_process_that_showed_them() {
    let machine = Machine::v2();
    let cgroup = machine.cgroup(&format!("docker/{ID}"));
    machine.write(&format!("cgroup/docker/{ID}/io.stat"), "8:0 rios=1\n");
    machine.write("proc/diskstats", "8 0 sda 1\n");
    machine.write("proc/7/mountinfo", "1 1 8:0 / /data rw - ext4 /dev/sda rw\n");
    let mut workloads = machine.workloads();
    workloads.observe_tasks(&[task(origin(7, NO_CGROUP, cgroup), 1, 0)], at(100), 0);
    let disks = |workloads: &mut Workloads, now| {
        let lines = series(workloads, at(now));
        lines.into_iter().filter(|line| line.contains("disk_reads_total")).collect::<Vec<_>>()
    };
    let expected = "container_resources_disk_reads_total\
                    {container_id=/docker/b06f44ca4949,device=sda,mount_point=/data} 1";
    assert_eq!(disks(&mut workloads, 103), [expected]);
    workloads.observe_tasks(&[], at(104), 0);
    workloads.resolve(&origin(0, NO_CGROUP, cgroup), at(150));
    assert_eq!(disks(&mut workloads, 170), [expected]);
}
