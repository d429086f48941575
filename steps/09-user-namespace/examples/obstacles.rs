//! `obstacles`: what keeps this user, or would keep it, from containers without root.

fn main() -> anyhow::Result<()> {
    for obstacle in user_namespace::examine()? {
        println!("{}: {}: {}", obstacle.what, obstacle.found, obstacle.means);
        println!("    {}", obstacle.advice);
    }
    Ok(())
}
