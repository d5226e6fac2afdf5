use backhaul_runtime::tools::tool;

struct Place;

/// Looks.
#[tool]
fn look(place: Place) {
    drop(place);
}

fn main() {}
