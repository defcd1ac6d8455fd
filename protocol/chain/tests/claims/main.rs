//! What this crate promises, claim by claim.

#[cfg(test)]
mod auth;
#[cfg(test)]
mod bundles;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod order;
#[cfg(test)]
mod rules;
#[cfg(test)]
mod tampering;
