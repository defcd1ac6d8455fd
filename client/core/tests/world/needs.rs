//! What only the directory knows, answered as a server would.

use unhidra_client::{Effects, Need, direct_conversation};

use crate::world::{Machine, World};

impl World {
    pub(crate) fn meet(&mut self, machine: usize, need: Need) -> Effects {
        let now = self.tick();
        let Self {
            directory,
            logs,
            machines,
            rng,
            ..
        } = self;
        let Machine { device, user, .. } = &mut machines[machine];
        match need {
            Need::Conversation(peer) => {
                logs.members
                    .insert(direct_conversation(*user, peer), [*user, peer]);
                device.conversation_opened(peer, now, rng)
            }
            Need::Chain { user: whose, from } => {
                let records = directory.records(whose, from, *user);
                device.learn_chain(whose, from, &records, now, rng)
            }
            Need::Bundles { user, devices } => {
                let bundles = directory.take(&devices);
                device.bundles_taken(user, &devices, &bundles, now, rng)
            }
            Need::Stock => {
                let stock = directory.stock(device.id());
                device.stock_listed(&stock, now, rng)
            }
            Need::UploadPrekeys => {
                let Some(upload) = device.pending_upload(now, rng).unwrap() else {
                    return Effects::default();
                };
                let stock = directory.upload(device.id(), upload);
                device.prekeys_uploaded(&stock, now, rng)
            }
            Need::ReportFailures => {
                let report = device.opening_failures(now, rng).unwrap();
                directory.reports.push((device.id(), report.clone()));
                device.failures_reported(&report, now, rng)
            }
        }
        .unwrap()
    }
}
