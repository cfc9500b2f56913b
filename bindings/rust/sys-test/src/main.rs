// SPDX-License-Identifier: MIT
#![allow(bad_style, unused)]
use vmarena_sys::*;
include!(concat!(env!("OUT_DIR"), "/all.rs"));
