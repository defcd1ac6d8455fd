//! Refusals by the names that `docs/protocol/errors.md` gives them.

use unhidra_chain::BadBundle;
use unhidra_pair::{InitiateError, IntroductionError, OpenError, SealError};

pub(crate) fn open_error(error: OpenError) -> &'static str {
    match error {
        OpenError::Malformed => "Malformed",
        OpenError::Unsupported => "Unsupported",
        OpenError::Replay => "Replay",
        OpenError::NoSession => "NoSession",
        OpenError::UnknownPrekey => "UnknownPrekey",
        OpenError::KeyGone => "KeyGone",
        OpenError::SkipTooFar(_) => "SkipTooFar",
        OpenError::BadTag => "BadTag",
        _ => "another",
    }
}

pub(crate) fn seal_error(error: SealError) -> &'static str {
    match error {
        SealError::NoSession => "NoSession",
        SealError::ChainFull => "ChainFull",
        SealError::BadPeerKey => "BadPeerKey",
        SealError::EpochOverdue => "EpochOverdue",
        _ => "another",
    }
}

pub(crate) fn initiate_error(error: InitiateError) -> &'static str {
    match error {
        InitiateError::OtherDevice => "OtherDevice",
        InitiateError::BadPeerKey => "BadPeerKey",
        _ => "another",
    }
}

pub(crate) fn introduction_error(error: IntroductionError) -> &'static str {
    match error {
        IntroductionError::NotLive(_) => "NotLive",
        IntroductionError::OtherCertificate => "OtherCertificate",
        IntroductionError::Downgrade => "Downgrade",
        _ => "another",
    }
}

pub(crate) fn bad_bundle(error: BadBundle) -> &'static str {
    match error {
        BadBundle::OtherDevice(_) => "OtherDevice",
        BadBundle::NotLive(_) => "NotLive",
        BadBundle::OtherCertificate => "OtherCertificate",
        BadBundle::EarlierGeneration => "EarlierGeneration",
        BadBundle::Forged(_) => "Forged",
        BadBundle::Expired(_) => "Expired",
        BadBundle::KemMissing => "KemMissing",
        BadBundle::KemUnannounced => "KemUnannounced",
        _ => "another",
    }
}
