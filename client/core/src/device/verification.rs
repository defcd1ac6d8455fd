//! What a device shows for another to scan.

use unhidra_chain::safety_number::VerificationCode;
use unhidra_types::UserId;

use super::{Device, trust::person};
use crate::{
    peer::Peer,
    record::Record as _,
    store::{Store, StoreError},
};

impl<S: Store> Device<S> {
    /// The code to show to `user`; `None` while one of the two identities is unknown.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn verification_code(&mut self, user: UserId) -> Result<Option<VerificationCode>, StoreError> {
        let me = self.me.user;
        self.store.transaction(|tx| {
            let (Some(own), Some(other)) = (Peer::load(tx, me.as_bytes())?, Peer::load(tx, user.as_bytes())?)
            else {
                return Ok(None);
            };
            Ok(Some(VerificationCode {
                own: person(me, &own)?,
                other: person(user, &other)?,
            }))
        })
    }
}
