use backhaul_weave as weave;

trait Sensor {
    #[weave::op]
    fn read(&self) -> u8;
}

fn main() {}
