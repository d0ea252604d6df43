//! What every fuzzer does: replays a corpus, then mutates it at random for a bounded time.
//!
//! A panic ends it and leaves the input in `crash-FUNCTION` in the current directory; put it into the corpus together
//! with the fix.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;

/// A name and a function that must not panic, whatever it is given.
pub type Target = (&'static str, fn(&[u8]));

/// Longest input that mutations make.
const MAX_INPUT: usize = 16 << 10;

/// Runs all targets on a corpus and its mutations. The command line is `SECONDS [SEED]`.
pub fn run(targets: &[Target], corpus: &Path) -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let seconds = arguments.next().context("usage: SECONDS [SEED]")?.parse()?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_nanos() as u64;
    let seed = arguments.next().map_or(Ok(now), |text| text.parse()).context("SEED is a number")?;
    println!("seed={seed}");
    let corpus = read_corpus(corpus)?;
    anyhow::ensure!(!corpus.is_empty(), "the corpus is empty");
    for input in &corpus {
        run_all(targets, input)?;
    }
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut random = Random(seed);
    let mut runs = corpus.len() as u64;
    while Instant::now() < end {
        run_all(targets, &mutate(&corpus, &mut random))?;
        runs += 1;
    }
    println!("inputs={runs}");
    Ok(())
}

fn read_corpus(dir: &Path) -> anyhow::Result<Vec<Vec<u8>>> {
    let entries = std::fs::read_dir(dir).with_context(|| format!("read {}", dir.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<Vec<_>>>()?;
    paths.sort();
    paths.iter().map(|path| Ok(std::fs::read(path)?)).collect()
}

fn run_all(targets: &[Target], input: &[u8]) -> anyhow::Result<()> {
    for (name, target) in targets {
        if catch_unwind(AssertUnwindSafe(|| target(input))).is_err() {
            let path = format!("crash-{name}");
            std::fs::write(&path, input)?;
            anyhow::bail!("{name} panicked, its input is in {path}");
        }
    }
    Ok(())
}

/// One to eight changes to an input of the corpus: bits, bytes, numbers at their bounds, cuts, repeats, joins.
fn mutate(corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut input = corpus[random.below(corpus.len())].clone();
    for _ in 0..=random.below(8) {
        let at = random.below(input.len() + 1);
        match random.below(6) {
            0 if at < input.len() => input[at] ^= 1 << random.below(8),
            1 if at < input.len() => input[at] = [0, 1, 0x7f, 0x80, 0xff][random.below(5)],
            2 => input.truncate(at),
            3 => input.insert(at, random.next() as u8),
            4 => {
                let from = random.below(at + 1);
                let part = input[from..at].to_vec();
                input.splice(at..at, part);
            }
            _ => {
                let other = &corpus[random.below(corpus.len())];
                input.truncate(at);
                input.extend_from_slice(&other[random.below(other.len() + 1)..]);
            }
        }
        input.truncate(MAX_INPUT);
    }
    input
}

/// SplitMix64: repeatable by its seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}
