// cargo add ureq
use std::io::{BufRead, BufReader};
use std::thread;
use std::time::Duration;

fn main() {
    let mut last = String::new(); // the id of the last roll
    loop {
        if let Err(error) = listen(&mut last) {
            eprintln!("disconnected: {error}");
        }
        thread::sleep(Duration::from_secs(3));
    }
}

fn listen(last: &mut String) -> Result<(), Box<dyn std::error::Error>> {
    let request = ureq::get("http://127.0.0.1:5000/stream/").header("Last-Event-ID", &*last);
    let mut id = None;
    for line in BufReader::new(request.call()?.into_body().into_reader()).lines() {
        let line = line?;
        if let Some(value) = line.strip_prefix("id: ") {
            id = Some(value.to_owned());
        } else if let Some(dice) = line.strip_prefix("data: ")
            && let Some(id) = id.take()
        {
            println!("{id} {dice}");
            *last = id;
        }
    }
    Ok(())
}
