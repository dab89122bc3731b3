//! qihoo360
