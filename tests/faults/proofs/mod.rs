//! The log of verifiable rolls under faults.

#[cfg(target_os = "linux")]
mod kills;
mod retries;
mod rows;
#[cfg(target_os = "linux")]
mod secrets;
mod upgrade;
mod restore;
mod blocks;
mod retention;
