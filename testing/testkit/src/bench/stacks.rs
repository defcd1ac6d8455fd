//! Stacks that a process was seen with, each with the number of samples: what a flame graph is made of.

use std::collections::BTreeMap;

/// Addresses from here on are the kernel's.
const KERNEL: u64 = 0xffff_8000_0000_0000;
/// How a thread comes to do anything, and how a system call gets to its work: in every stack, and no news. Functions
/// that only call what they were given are noise too.
const SKIPPED: &[&str] = &[
    "[unknown]",
    "x64_sys_call",
    "__GI___",
    "__libc_start",
    "__rust_begin_short_backtrace",
    "__rust_try",
    "_start",
    "alloc::boxed::",
    "asm_",
    "clone",
    "core::future::",
    "core::ops::function::",
    "core::panic::",
    "core::pin::",
    "do_syscall_64",
    "entry_SYSCALL_64",
    "main",
    "start_thread",
    "std::panic",
    "std::rt::",
    "std::sys::",
    "std::thread::",
    "syscall",
    "tokio::runtime::context",
    "tracing::instrument::",
];
/// Libraries whose layers say little, with the segments of a path that are kept.
const CUT: [(&str, usize); 6] = [
    ("axum::", 1),
    ("futures_util::", 1),
    ("hyper::", 1),
    ("hyper_util::", 1),
    ("tokio::runtime::", 3),
    ("tower::", 1),
];

/// Where code belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The kernel's.
    Kernel,
    /// The program's, with its libraries.
    Program,
    /// No code: the name of a thread.
    Thread,
}

/// One function on a stack.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Frame {
    /// Its path, without type parameters.
    pub name: String,
    /// Whose it is.
    pub place: Place,
}

/// Stacks from the thread to what was running, with their samples.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stacks(BTreeMap<Vec<Frame>, u64>);

impl Stacks {
    /// What `perf script --fields comm,ip,sym` prints: a thread, then its functions from the innermost to the
    /// outermost, then an empty line.
    #[must_use]
    pub fn read(script: &str) -> Self {
        let mut stacks = Self::default();
        for sample in script.split("\n\n") {
            let mut lines = sample.lines().filter(|line| !line.trim().is_empty());
            let Some(thread) = lines.next() else { continue };
            // `perf` calls a thread by its number that was there before it and ended soon.
            let name = match thread.trim() {
                name if name.starts_with(':') => "thread",
                name => name,
            };
            let thread = Frame {
                name: name.to_owned(),
                place: Place::Thread,
            };
            let mut stack: Vec<Frame> = lines.filter_map(frame).collect();
            stack.push(thread);
            stack.reverse();
            // What calls itself, or was two before names were shortened.
            stack.dedup();
            *stacks.0.entry(stack).or_default() += 1;
        }
        stacks
    }

    /// All samples.
    #[must_use]
    pub fn samples(&self) -> u64 {
        self.0.values().sum()
    }

    /// Each stack with its samples; neighbours share the most.
    pub fn iter(&self) -> impl Iterator<Item = (&[Frame], u64)> {
        self.0.iter().map(|(stack, samples)| (stack.as_slice(), *samples))
    }
}

fn frame(line: &str) -> Option<Frame> {
    let (address, name) = line.trim().split_once(' ')?;
    let address = u64::from_str_radix(address, 16).ok()?;
    let name = cut(&short(name));
    let is_skipped = SKIPPED.iter().any(|skipped| name.starts_with(skipped));
    (!is_skipped).then_some(Frame {
        name,
        place: if address >= KERNEL {
            Place::Kernel
        } else {
            Place::Program
        },
    })
}

/// A path with as many segments as its library deserves.
fn cut(name: &str) -> String {
    let library = CUT.iter().find(|(library, _)| name.starts_with(library));
    let kept = library.map_or(usize::MAX, |(_, kept)| *kept);
    let segments: Vec<&str> = name.split("::").take(kept).collect();
    segments.join("::")
}

/// A path as one reads it: `<a::B<C> as d::E>::f::{{closure}}` is `a::B::f`.
fn short(name: &str) -> String {
    let name = name.replace("::{{closure}}", "").replace("{{vtable.shim}}", "");
    let name = match name.rsplit_once("::h") {
        Some((path, hash)) if hash.len() == 16 && hash.bytes().all(|digit| digit.is_ascii_hexdigit()) => path,
        _ => &name,
    };
    let (mut short, mut depth) = (String::new(), 0_u32);
    if let Some(implementation) = name.strip_prefix('<') {
        let end = closing(implementation).unwrap_or(implementation.len());
        let (owner, rest) = implementation.split_at(end);
        let owner = owner.split(" as ").next().unwrap_or_default();
        let owner = owner.trim_start_matches(['&', '*']).trim_start_matches("mut ");
        return self::short(&format!("{owner}{}", rest.strip_prefix('>').unwrap_or(rest)));
    }
    for letter in name.chars() {
        match letter {
            '<' => depth += 1,
            '>' if depth > 0 && !short.ends_with('-') => depth -= 1,
            letter if depth == 0 => short.push(letter),
            _ => {}
        }
    }
    short.replace("::::", "::")
}

/// Where the parameters end that were opened before `text`.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 1_u32;
    for (place, letter) in text.char_indices() {
        match letter {
            '<' => depth += 1,
            '>' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(place);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_one_stack_are_counted_together_from_the_thread_inwards() {
        let script = "writer  \n\tffffffff81000010 tcp_sendmsg\n\t55550010 a::B<u8>::f\n\t55550000 main\n\n\
                      writer  \n\tffffffff81000020 tcp_sendmsg\n\t55550010 a::B<u16>::f::{{closure}}\n\n\
                      :4711 \n\t55550000 [unknown]\n\n";
        let stacks = Stacks::read(script);
        let seen: Vec<(Vec<&str>, u64)> = stacks
            .iter()
            .map(|(stack, samples)| (stack.iter().map(|frame| &*frame.name).collect(), samples))
            .collect();
        assert_eq!(
            seen,
            [(vec!["thread"], 1), (vec!["writer", "a::B::f", "tcp_sendmsg"], 2)]
        );
        assert_eq!(stacks.samples(), 3);
    }

    #[test]
    fn names_lose_types_closures_and_hashes() {
        assert_eq!(short("<a::B<C> as d::E<F>>::f::{{closure}}"), "a::B::f");
        assert_eq!(short("a::b<C, D>::e::h0123456789abcdef"), "a::b::e");
        assert_eq!(short("<&mut a::B as c::D>::e"), "a::B::e");
        assert_eq!(short("tcp_sendmsg"), "tcp_sendmsg");
        assert_eq!(
            cut("tokio::runtime::task::core::Core::poll"),
            "tokio::runtime::task"
        );
    }
}
