use backhaul_weave as weave;

trait Model {
    #[weave::op]
    fn answer(&self) -> i32;
}

struct Small;

impl Model for Small {
    fn answer(&self) -> i32 {
        42
    }
}

fn main() {
    Small.answer();
}
