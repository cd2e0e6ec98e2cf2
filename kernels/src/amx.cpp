namespace embedge {
bool amx_allowed() { return false; }
}
