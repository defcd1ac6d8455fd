//! The pair protocol from outside: two or more devices, a network that does what it likes, and claims about both.

#[cfg(test)]
mod conversation;
#[cfg(test)]
mod forgery;
#[cfg(test)]
mod network;
#[cfg(test)]
mod prekeys;
