use backhaul_weave as weave;

#[weave::op]
struct Sensor {
    celsius: f64,
}

fn main() {
    let _ = Sensor { celsius: 1.0 };
}
