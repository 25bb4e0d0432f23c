//! The pages in real browsers: all of it in Chromium, and the core also in Firefox and in WebKit.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

#[path = "../common/mod.rs"]
mod common;

mod browser;
mod checks;
mod firefox;
mod process;
mod proxy;
mod rows;
mod session;
mod slots;
mod usage;
mod webdriver;
mod webkit;

mod accessibility;
mod article;
mod developers;
mod draw;
mod fairness;
mod first_load;
mod history;
mod lab;
mod lab_page;
mod limits;
mod live;
mod looks;
mod outage;
mod page;
mod proof;
mod screen;
mod scripts;
mod seam;
mod state;
mod stats;
mod style;
mod tabs;
mod trouble;
mod targets;
mod verify;
mod wake;
