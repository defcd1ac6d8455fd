//! The pair protocol from outside: two or more devices, a network that does what it likes, and claims about both.

#[cfg(test)]
mod archive;
#[cfg(test)]
mod attacks;
#[cfg(test)]
mod compromise;
#[cfg(test)]
mod conversation;
#[cfg(test)]
mod crossing;
#[cfg(test)]
mod epochs;
#[cfg(test)]
mod forgery;
#[cfg(test)]
mod handshake;
#[cfg(test)]
mod network;
#[cfg(test)]
mod overhead;
#[cfg(test)]
mod prekeys;
#[cfg(test)]
mod privacy;
#[cfg(test)]
mod replay;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod skipping;
#[cfg(test)]
mod stored;
