//! Makes exact numbers of connections and bytes; see [`sonde_tests::traffic`].

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    sonde_tests::traffic::run(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
}
