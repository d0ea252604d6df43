//! PID 1 of a guest of the kernel matrix; see [`sonde_tests::guest`].

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    sonde_tests::guest::main(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
}
