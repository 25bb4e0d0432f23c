//! The pages in a real browser: headless Chromium, driven by chromedriver.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

#[path = "../common/mod.rs"]
mod common;

mod browser;
mod proxy;
mod rows;

mod accessibility;
mod article;
mod limits;
mod live;
mod looks;
mod outage;
mod page;
mod scripts;
mod seam;
mod state;
mod stats;
mod tabs;
mod wake;
