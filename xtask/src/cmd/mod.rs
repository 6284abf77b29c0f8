//! One file for each verb.

pub(crate) mod bench;
pub(crate) mod build;
pub(crate) mod image;
pub(crate) mod install;
pub(crate) mod lab;
pub(crate) mod prepare;
pub(crate) mod tailnet;
pub(crate) mod test;
pub(crate) mod trial;
pub(crate) mod vm;
