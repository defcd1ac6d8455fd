//! Bodies of the REST interface and lines of an export: JSON is read as each of them, and what is read is written so that it
//! reads the same again.

use serde::{Serialize, de::DeserializeOwned};
use unhidra_wire::{audit, rest};

/// The first byte says as what the rest is read.
pub fn bodies(data: &[u8]) {
    let Some((kind, json)) = data.split_first() else {
        return;
    };
    let at = usize::from(*kind).checked_rem(KINDS.len()).unwrap_or(0);
    if let Some(read) = KINDS.get(at) {
        read(json);
    }
}

const KINDS: &[fn(&[u8])] = &[
    both::<rest::OpenAccount>,
    both::<rest::Enrolment>,
    both::<rest::DeleteAccount>,
    both::<rest::Invite>,
    both::<rest::Invitation>,
    both::<rest::Accounts>,
    both::<rest::Sessions>,
    both::<rest::AllDevices>,
    both::<rest::Invitations>,
    both::<rest::Connections>,
    both::<rest::OpenConversation>,
    both::<rest::Conversations>,
    both::<rest::AppendEntry>,
    both::<rest::AppendedEntry>,
    both::<rest::Entries>,
    both::<rest::Devices>,
    both::<rest::UploadPrekeys>,
    both::<rest::Stock>,
    both::<rest::TakeBundles>,
    both::<rest::Bundles>,
    both::<rest::ReplaceIdentity>,
    both::<rest::ReplaceRecovery>,
    both::<rest::LinkMessage>,
    both::<rest::LinkMessages>,
    both::<rest::Problem>,
    both::<rest::LogIn>,
    both::<rest::BeginSession>,
    both::<rest::Refresh>,
    both::<rest::Tokens>,
    both::<rest::Me>,
    both::<rest::User>,
    both::<rest::ChainRecords>,
    both::<rest::ExtendChain>,
    both::<rest::DeviceProof>,
    both::<rest::Recovery>,
    both::<audit::ExportLine>,
    both::<audit::TreeHeads>,
    both::<audit::AuditRecords>,
    both::<audit::InclusionProof>,
    both::<audit::ConsistencyProof>,
];

fn both<T: Serialize + DeserializeOwned>(json: &[u8]) {
    let Ok(value) = serde_json::from_slice::<T>(json) else {
        return;
    };
    let written = serde_json::to_vec(&value).unwrap_or_else(|error| panic!("{error}"));
    let again: T = serde_json::from_slice(&written).unwrap_or_else(|error| panic!("{error}"));
    let again = serde_json::to_vec(&again).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(written, again);
}
