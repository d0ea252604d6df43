//! The smallest object file that a loader of BPF programs takes: ELF64, little endian, one program, one symbol.

const HEADER: usize = 64;
const SECTION: usize = 64;
const SYMBOL: usize = 24;

/// Types of sections, `elf(5)`.
const PROGBITS: u32 = 1;
const SYMTAB: u32 = 2;
const STRTAB: u32 = 3;

/// Writes an object with a program of that name in a section of that name.
pub fn object(section: &str, symbol: &str, code: &[u8]) -> Vec<u8> {
    let mut strings = vec![0];
    let mut string = |text: &str| {
        let at = strings.len();
        strings.extend_from_slice(text.as_bytes());
        strings.push(0);
        u32::try_from(at).expect("a short table")
    };
    let names = [section, "license", ".symtab", ".strtab"].map(&mut string);
    let symbol_name = string(symbol);

    // The null symbol, and a global function at the start of section 1.
    let mut symbols = vec![0; SYMBOL];
    symbols.extend_from_slice(&symbol_name.to_le_bytes());
    symbols.extend_from_slice(&[0x12, 0, 1, 0]);
    symbols.extend_from_slice(&0u64.to_le_bytes());
    symbols.extend_from_slice(&(code.len() as u64).to_le_bytes());

    let contents: [(u32, &[u8]); 4] =
        [(PROGBITS, code), (PROGBITS, b"GPL\0"), (SYMTAB, &symbols), (STRTAB, &strings)];
    let mut body = Vec::new();
    let mut sections = vec![0; SECTION];
    for ((kind, bytes), name) in contents.into_iter().zip(names) {
        body.resize(body.len().next_multiple_of(8), 0);
        sections.extend(header(name, kind, HEADER + body.len(), bytes.len()));
        body.extend_from_slice(bytes);
    }
    body.resize(body.len().next_multiple_of(8), 0);
    [file_header(HEADER + body.len()).as_slice(), &body, &sections].concat()
}

fn header(name: u32, kind: u32, offset: usize, size: usize) -> Vec<u8> {
    const ALLOC_AND_EXECUTE: u64 = 2 | 4;
    let flags = if kind == PROGBITS { ALLOC_AND_EXECUTE } else { 0 };
    // The symbol table names its strings by their section's index, and its first global symbol.
    let (link, info, entry) = if kind == SYMTAB { (4u32, 1u32, SYMBOL as u64) } else { (0, 0, 0) };
    let mut out = Vec::with_capacity(SECTION);
    out.extend_from_slice(&name.to_le_bytes());
    out.extend_from_slice(&kind.to_le_bytes());
    [flags, 0, offset as u64, size as u64].iter().for_each(|word| out.extend_from_slice(&word.to_le_bytes()));
    out.extend_from_slice(&link.to_le_bytes());
    out.extend_from_slice(&info.to_le_bytes());
    [8, entry].iter().for_each(|word| out.extend_from_slice(&word.to_le_bytes()));
    out
}

fn file_header(sections_at: usize) -> Vec<u8> {
    const RELOCATABLE: u16 = 1;
    const BPF: u16 = 247;
    const SECTIONS: u16 = 5;
    const STRINGS: u16 = 4;
    let mut out = b"\x7fELF\x02\x01\x01".to_vec();
    out.resize(16, 0);
    [RELOCATABLE, BPF].iter().for_each(|half| out.extend_from_slice(&half.to_le_bytes()));
    out.extend_from_slice(&1u32.to_le_bytes());
    [0, 0, sections_at as u64].iter().for_each(|word| out.extend_from_slice(&word.to_le_bytes()));
    out.extend_from_slice(&0u32.to_le_bytes());
    [HEADER as u16, 0, 0, SECTION as u16, SECTIONS, STRINGS]
        .iter()
        .for_each(|half| out.extend_from_slice(&half.to_le_bytes()));
    out
}
