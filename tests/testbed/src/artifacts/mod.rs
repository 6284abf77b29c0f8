//! What is made from a recipe, once, and kept in the cache: Debian roots, the box image, programs built from source.

pub(crate) mod base;
pub(crate) mod cache;
pub mod image;
pub mod recipe;
pub(crate) mod tailnet;

pub use base::{base, debootstrap};
pub use cache::{Artifact, build_once, named};
pub use recipe::Debian;
