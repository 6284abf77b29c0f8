//! A box as Quadlet units: generated names, the templates, and the one escape between values and unit text.

mod escape;
pub mod names;
mod render;

pub use escape::Unescapable;
pub use render::{RenderError, Templates, UnitFile, render};
