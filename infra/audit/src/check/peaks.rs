//! The subtrees that are complete so far, each with what its row states and what follows from below.

use unhidra_tree::{Hash, Node, parent};

/// Doubtful subtrees that are tried both ways against a signed root; those beyond are taken as stated.
const MAX_TRIED: usize = 6;

/// What can't be decided before more of the tree is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    /// The record, or its leaf hash, was changed.
    Record(u64),
    /// The record has no leaf hash beside it; nothing else is known against it.
    Loose(u64),
    /// The node's hash, or everything below it, was changed.
    Node(Node),
}

/// Which of the two versions the tree above follows from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    Stated,
    Computed,
}

/// The root of a complete subtree.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peak {
    stated: Option<Hash>,
    /// Another than the stated one, or the only one.
    computed: Option<Hash>,
    doubt: Option<Doubt>,
}

/// The largest first.
#[derive(Default)]
pub(super) struct Peaks(pub(super) Vec<Peak>);

impl Peak {
    /// What a row states and nothing contradicts; `None` when nothing is known.
    pub(super) const fn stated(stated: Option<Hash>) -> Self {
        Self {
            stated,
            computed: None,
            doubt: None,
        }
    }

    /// The leaf that follows from record `number`, where no row states one.
    pub(super) const fn loose(computed: Hash, number: u64) -> Self {
        Self {
            stated: None,
            computed: Some(computed),
            doubt: Some(Doubt::Loose(number)),
        }
    }

    pub(super) const fn doubtful(stated: Hash, computed: Hash, doubt: Doubt) -> Self {
        Self {
            stated: Some(stated),
            computed: Some(computed),
            doubt: Some(doubt),
        }
    }

    const fn is_loose(&self) -> bool {
        matches!(self.doubt, Some(Doubt::Loose(_)))
    }

    fn versions(&self) -> impl Iterator<Item = (Choice, Hash)> + Clone {
        let stated = self.stated.map(|hash| (Choice::Stated, hash));
        let computed = self.computed.map(|hash| (Choice::Computed, hash));
        stated.into_iter().chain(computed)
    }

    fn hash(&self, choice: Choice) -> Option<Hash> {
        match choice {
            Choice::Stated => self.stated.or(self.computed),
            Choice::Computed => self.computed.or(self.stated),
        }
    }
}

impl Peaks {
    /// Replaces the last two by the node above them, of which a row states `stated`. Gives what that decides.
    pub(super) fn join(&mut self, node: Node, stated: Option<Hash>) -> Vec<(Doubt, Option<Choice>)> {
        let (Some(right), Some(left)) = (self.0.pop(), self.0.pop()) else {
            return Vec::new();
        };
        let undecided = || {
            [left.doubt, right.doubt]
                .into_iter()
                .flatten()
                .map(|doubt| (doubt, None))
        };
        let above = |choice| Some(parent(&left.hash(choice)?, &right.hash(choice)?));
        let Some(stated) = stated else {
            // Both versions go up, so that the next node that is known decides.
            let (first, second) = (above(Choice::Stated), above(Choice::Computed));
            self.0.push(Peak {
                stated: first.filter(|_| first != second),
                computed: second,
                doubt: left.doubt.or(right.doubt),
            });
            let others = undecided().skip(1);
            return others
                .filter(|(doubt, _)| !matches!(doubt, Doubt::Loose(_)))
                .collect();
        };
        let explained = left.versions().find_map(|(left_choice, left_hash)| {
            let mut rights = right.versions();
            let (right_choice, _) =
                rights.find(|(_, right_hash)| parent(&left_hash, right_hash) == stated)?;
            Some((left_choice, right_choice))
        });
        let (peak, settled) = match (explained, above(Choice::Stated)) {
            (Some((left_choice, right_choice)), _) => {
                let left = left.doubt.map(|doubt| (doubt, Some(left_choice)));
                let right = right.doubt.map(|doubt| (doubt, Some(right_choice)));
                (
                    Peak::stated(Some(stated)),
                    left.into_iter().chain(right).collect(),
                )
            }
            // What is loose does not fit, so it was changed.
            (None, Some(_)) if left.is_loose() || right.is_loose() => {
                (Peak::stated(Some(stated)), undecided().collect())
            }
            // Below it something is missing, and its finding is there.
            (None, None) => (Peak::stated(Some(stated)), undecided().collect()),
            (None, Some(computed)) => (
                Peak::doubtful(stated, computed, Doubt::Node(node)),
                undecided().collect(),
            ),
        };
        self.0.push(peak);
        settled
    }

    /// Whether `root` follows from these; gives the doubts that it decides, which are over then.
    pub(super) fn explain(&mut self, root: &Hash) -> Option<Vec<(Doubt, Choice)>> {
        let doubtful: Vec<usize> = (0..self.0.len())
            .rev()
            .filter(|index| self.0.get(*index).is_some_and(|peak| peak.doubt.is_some()))
            .take(MAX_TRIED)
            .collect();
        for mask in 0_u32..1 << doubtful.len() {
            let choice = |index: usize| {
                let place = doubtful.iter().position(|doubt| *doubt == index);
                match place {
                    Some(place) if mask >> place & 1 == 1 => Choice::Computed,
                    _ => Choice::Stated,
                }
            };
            if self.root(choice).as_ref() != Some(root) {
                continue;
            }
            let choices: Vec<Choice> = (0..self.0.len()).map(choice).collect();
            let settled = self.0.iter_mut().zip(choices).filter_map(|(peak, choice)| {
                let doubt = peak.doubt?;
                *peak = Peak::stated(peak.hash(choice));
                Some((doubt, choice))
            });
            return Some(settled.collect());
        }
        None
    }

    /// What nothing has decided.
    pub(super) fn doubts(&self) -> Vec<Doubt> {
        let undecided = self.0.iter().filter(|peak| !peak.is_loose());
        undecided.filter_map(|peak| peak.doubt).collect()
    }

    fn root(&self, choice: impl Fn(usize) -> Choice) -> Option<Hash> {
        let mut root = None;
        for (index, peak) in self.0.iter().enumerate().rev() {
            let left = peak.hash(choice(index))?;
            root = Some(root.map_or(left, |right| parent(&left, &right)));
        }
        Some(root.unwrap_or_else(unhidra_tree::node::empty))
    }
}
