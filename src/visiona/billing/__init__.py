"""Plans and quotas: what each person may use, has used and has set aside."""
