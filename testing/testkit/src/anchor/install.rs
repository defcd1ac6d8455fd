//! Packages of the distribution that an anchor consists of.

use super::Anchor;
use crate::install::packages;

/// Installs what `anchors` need and is not there; none is started.
///
/// # Errors
/// When the distribution is not Debian's, or a package can't be installed: leave the anchor out then.
pub fn install(anchors: &[Anchor]) -> anyhow::Result<()> {
    let needed = anchors.iter().flat_map(|anchor| anchor.packages());
    packages(&needed.copied().collect::<Vec<_>>())
}
