"""What calls used and cost: receipts, the journal that keeps them safe, the mover to the store, and the sums."""
