#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod compile;
pub mod decision;
pub mod handover;
pub mod image;
pub mod label;
pub mod packet;
pub mod record;
pub mod reference;
pub mod resource;
pub mod selector;
pub mod space;
