// cargo add ureq
use std::io::{BufRead, BufReader};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let response = ureq::get("http://127.0.0.1:5000/stream/").call()?;
    let mut id = None;
    for line in BufReader::new(response.into_body().into_reader()).lines() {
        let line = line?;
        if let Some(value) = line.strip_prefix("id: ") {
            id = Some(value.to_owned());
        } else if let Some(dice) = line.strip_prefix("data: ")
            && let Some(id) = id.take()
        {
            println!("{id} {dice}");
        }
    }
    Ok(())
}
