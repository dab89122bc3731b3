//! The only list of platforms. Code outside of this folder names no platform: it goes by this list and by names.

use std::sync::{Arc, LazyLock};

use super::Platform;
use super::declared::{self, DeclaredPlatform};
#[cfg(test)]
use super::third_platform;
use super::{baizhu, kdniao, qihoo360, solinkup};

/// The platforms that are written in code.
static CODED: &[&dyn Platform] = &[
    qihoo360::PLATFORM,
    baizhu::PLATFORM,
    kdniao::PLATFORM,
    solinkup::PLATFORM,
    #[cfg(test)]
    third_platform::PLATFORM,
];

/// The platforms that are files: name and text.
pub(super) const FILES: [(&str, &str); 7] = [
    ("oceanengine.toml", include_str!("../../config/platforms/oceanengine.toml")),
    ("tencent_ads.toml", include_str!("../../config/platforms/tencent_ads.toml")),
    ("baidu.toml", include_str!("../../config/platforms/baidu.toml")),
    ("kuaishou.toml", include_str!("../../config/platforms/kuaishou.toml")),
    ("meta.toml", include_str!("../../config/platforms/meta.toml")),
    ("tiktok.toml", include_str!("../../config/platforms/tiktok.toml")),
    ("webhook.toml", include_str!("../../config/platforms/webhook.toml")),
];

/// The files, compiled. A test loads each of them, so that none is missing here.
static DECLARED: LazyLock<Vec<Arc<DeclaredPlatform>>> =
    LazyLock::new(|| FILES.iter().filter_map(|(name, text)| declared::load(name, text).ok()).collect());

/// Every platform that the program brings along.
pub fn all() -> impl Iterator<Item = &'static dyn Platform> {
    CODED.iter().copied().chain(shipped().map(|platform| &**platform as &dyn Platform))
}

/// Those of them that are files.
pub fn shipped() -> impl Iterator<Item = &'static Arc<DeclaredPlatform>> {
    DECLARED.iter()
}

pub fn find(name: &str) -> Option<&'static dyn Platform> {
    all().find(|platform| platform.name() == name)
}

/// The platforms of one configuration: those that the program brings along, and those of its own files.
#[derive(Clone, Debug, Default)]
pub struct Platforms {
    own: Vec<Arc<DeclaredPlatform>>,
}

impl Platforms {
    /// Adds a platform of the configuration's own.
    ///
    /// # Errors
    /// There is one of this name already.
    pub fn add(&mut self, platform: Arc<DeclaredPlatform>) -> Result<(), String> {
        let name = platform.name();
        if self.find(name).is_some() {
            return Err(format!("is named {name}, as another platform is: give it another `name`"));
        }
        self.own.push(platform);
        Ok(())
    }

    pub fn all<'p>(&'p self) -> impl Iterator<Item = &'p dyn Platform> {
        let shipped = all().map(|platform| -> &'p dyn Platform { platform });
        shipped.chain(self.own().map(|platform| -> &'p dyn Platform { &**platform }))
    }

    /// Those of its own files.
    pub fn own(&self) -> impl Iterator<Item = &Arc<DeclaredPlatform>> {
        self.own.iter()
    }

    pub fn find(&self, name: &str) -> Option<&dyn Platform> {
        self.all().find(|platform| platform.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_fit_into_keys_and_labels() {
        let names: BTreeSet<_> = all().map(|platform| platform.name()).collect();
        assert_eq!(names.len(), all().count());
        for name in names {
            assert!(name.starts_with(|c: char| c.is_ascii_lowercase()), "{name}");
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'), "{name}");
            assert_eq!(find(name).map(Platform::name), Some(name));
        }
        assert!(find("nobody").is_none());
    }

    #[test]
    fn each_file_is_the_platform_of_its_name() {
        for (file, text) in FILES {
            let platform = declared::load(file, text).unwrap_or_else(|found| panic!("{found}"));
            assert_eq!(format!("{}.toml", platform.name()), file);
        }
        assert_eq!(shipped().count(), FILES.len());
    }

    #[test]
    fn a_platform_of_a_configuration_has_a_name_of_its_own() {
        let text = FILES[3].1.replace("name = \"kuaishou\"", "name = \"stranger\"");
        let stranger = declared::load("stranger.toml", &text).unwrap();
        let mut platforms = Platforms::default();
        assert_eq!(platforms.add(stranger.clone()), Ok(()));
        assert_eq!(platforms.find("stranger").map(Platform::title), Some("快手"));
        assert!(platforms.add(stranger).is_err() && Platforms::default().find("stranger").is_none());
        assert!(platforms.add(shipped().next().unwrap().clone()).is_err());
    }
}
