//! baizhu
