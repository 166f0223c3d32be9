//! Sections about the process: server, clients, memory, cpu.

use std::time::{SystemTime, UNIX_EPOCH};

use super::{Lines, Source, percent, ratio};
use crate::config::REDIS_VERSION;
use crate::observe::{cpu_times, memory as process_memory, physical_memory};

const DAY: u64 = 86400;
/// Redis counts the time since a key's last use in this many bits of seconds.
const LRU_CLOCK_BITS: u32 = 24;

pub(super) fn server(source: &Source<'_>, out: &mut Lines) {
    let (server, config) = (source.server, &source.server.config);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let system = rustix::system::uname();
    let text = |field: &std::ffi::CStr| field.to_string_lossy().into_owned();
    out.put("redis_version", REDIS_VERSION);
    out.put("redis_git_sha1", "00000000");
    out.put("redis_git_dirty", 0);
    out.put("redis_build_id", "0");
    out.put("redis_mode", "standalone");
    out.put("esker_version", env!("CARGO_PKG_VERSION"));
    out.put("os", format_args!("{} {} {}", text(system.sysname()), text(system.release()), text(system.machine())));
    out.put("arch_bits", usize::BITS);
    out.put("monotonic_clock", "POSIX clock_gettime");
    out.put("multiplexing_api", "epoll");
    out.put("process_id", std::process::id());
    out.put("process_supervised", "no");
    out.put("run_id", &server.run_id);
    out.put("node_id", format_args!("{:016x}", server.shard().node().0));
    out.put("node_starts", server.node.get().map_or(0, |node| node.starts));
    out.put("tcp_port", config.port());
    out.put("server_time_usec", now.as_micros());
    let uptime = server.started.elapsed().as_secs();
    out.put("uptime_in_seconds", uptime);
    out.put("uptime_in_days", uptime / DAY);
    out.put("hz", config.text("hz"));
    out.put("configured_hz", config.text("hz"));
    out.put("lru_clock", now.as_secs() & ((1 << LRU_CLOCK_BITS) - 1));
    out.put("executable", std::env::current_exe().map(|p| p.display().to_string()).unwrap_or_default());
    out.put("config_file", config.file().map(|p| p.display().to_string()).unwrap_or_default());
    out.put("io_threads_active", u8::from(config.io_threads() > 1));
    out.put("io_threads", config.io_threads());
}

pub(super) fn clients(source: &Source<'_>, out: &mut Lines) {
    let server = source.server;
    let (mut count, mut input, mut output, mut blocked) = (0_usize, 0, 0, 0);
    for client in server.clients.all() {
        count += usize::from(!client.is_replica());
        let shown = client.shown();
        input = input.max(shown.query_buffer);
        output = output.max(client.unsent());
        blocked += usize::from(shown.blocked);
    }
    out.put("connected_clients", count);
    out.put("cluster_connections", 0);
    out.put("maxclients", server.config.hot().max_clients());
    out.put("client_recent_max_input_buffer", input);
    out.put("client_recent_max_output_buffer", output);
    out.put("blocked_clients", blocked);
    out.zeros(&["tracking_clients", "clients_in_timeout_table"]);
}

pub(super) fn memory(source: &Source<'_>, out: &mut Lines) {
    let server = source.server;
    let process = process_memory();
    let index = server.shard().index().bytes_used();
    let used = process.anonymous + index;
    server.stats.note_memory(used);
    let peak = server.stats.peak_memory();
    out.bytes("used_memory", used);
    out.bytes("used_memory_rss", process.resident);
    out.bytes("used_memory_peak", peak);
    out.put("used_memory_peak_perc", percent(used, peak));
    out.put("used_memory_overhead", process.anonymous);
    out.put("used_memory_startup", server.stats.startup_memory());
    out.put("used_memory_dataset", index);
    out.put("used_memory_dataset_perc", percent(index, used));
    out.put("mem_index_bytes", index);
    out.put("mem_anonymous_bytes", process.anonymous);
    out.put("mem_mapped_bytes", process.file + process.shared);
    let memory = source.figures().memory;
    out.put("mem_limit_bytes", memory.limit);
    out.put("mem_counted_bytes", memory.counted);
    out.put("mem_over_limit_bytes", memory.counted.saturating_sub(memory.limit));
    out.put("mem_hot_segments", memory.hot_segments);
    out.put("mem_hot_bytes", memory.hot_bytes);
    out.put("mem_cold_segments", memory.cold_segments);
    out.put("mem_cold_bytes", memory.cold_bytes);
    out.put("mem_bad_segments", memory.bad_segments);
    out.put("mem_copies", memory.copies);
    out.put("mem_copies_bytes", memory.copies_bytes);
    out.put("mem_values_bytes", memory.values_bytes);
    for name in ["allocator_allocated", "allocator_active", "allocator_resident"] {
        out.put(name, process.anonymous);
    }
    out.bytes("total_system_memory", physical_memory());
    out.bytes("used_memory_lua", 0);
    out.zeros(&["used_memory_vm_eval", "used_memory_scripts_eval", "number_of_cached_scripts", "number_of_functions"]);
    out.zeros(&["number_of_libraries", "used_memory_vm_functions"]);
    out.bytes("used_memory_vm_total", 0);
    out.zeros(&["used_memory_functions"]);
    out.bytes("used_memory_scripts", 0);
    out.bytes("maxmemory", server.config.bytes("maxmemory"));
    out.put("maxmemory_policy", server.config.text("maxmemory-policy"));
    out.put("allocator_frag_ratio", "1.00");
    out.put("allocator_frag_bytes", 0);
    out.put("allocator_rss_ratio", "1.00");
    out.put("allocator_rss_bytes", 0);
    out.put("rss_overhead_ratio", ratio(process.resident, process.anonymous));
    out.put("rss_overhead_bytes", process.resident.saturating_sub(process.anonymous));
    out.put("mem_fragmentation_ratio", ratio(process.resident, used));
    out.put("mem_fragmentation_bytes", process.resident.saturating_sub(used));
    out.zeros(&["mem_not_counted_for_evict", "mem_replication_backlog", "mem_total_replication_buffers", "mem_clients_slaves"]);
    out.put("mem_clients_normal", client_buffers(source));
    out.zeros(&["mem_cluster_links", "mem_aof_buffer"]);
    out.put("mem_allocator", "libc");
    out.zeros(&["active_defrag_running", "lazyfree_pending_objects", "lazyfreed_objects"]);
}

/// Bytes that clients' requests and replies take.
fn client_buffers(source: &Source<'_>) -> usize {
    let buffers = |client: &std::sync::Arc<crate::net::Client>| {
        let shown = client.shown();
        shown.query_buffer + shown.query_buffer_free + client.unsent()
    };
    source.server.clients.all().iter().map(buffers).sum()
}

pub(super) fn cpu(_: &Source<'_>, out: &mut Lines) {
    let times = cpu_times();
    let fields = [
        ("used_cpu_sys", times.system),
        ("used_cpu_user", times.user),
        ("used_cpu_sys_children", times.children_system),
        ("used_cpu_user_children", times.children_user),
    ];
    for (name, seconds) in fields {
        out.put(name, format_args!("{seconds:.6}"));
    }
}
